"""What a stranger may send us, as functions of bytes: see fuzz/README.md."""
