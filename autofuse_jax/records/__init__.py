"""JSON files that this program reads: one reader of all, and forms that say what each kind must hold."""
