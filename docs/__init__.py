"""What draws parts of the documentation from the product itself."""
