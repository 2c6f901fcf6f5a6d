"""What the commands do once their options are read; the modules at the top of the package hold the options."""
