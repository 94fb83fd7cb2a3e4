"""One profile as a whole: its state, the changes after a reload, the end of a wait for it."""
