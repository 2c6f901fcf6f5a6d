"""What keeps files whole: who works on a folder, temporary names, locks, and results that replace others at once."""
