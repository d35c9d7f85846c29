"""The command line, a module per group of commands; each command imports what it needs."""
