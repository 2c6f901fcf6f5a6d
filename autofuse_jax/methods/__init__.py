"""Registration methods: what the trainer trains. Their names and how they are made: registry.py."""
