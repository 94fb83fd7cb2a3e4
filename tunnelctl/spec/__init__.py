"""The requested configuration, as frozen values that compare by content. Pure: no I/O, no clock."""
