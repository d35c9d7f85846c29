"""The commands, a module per group: thin; everything heavy is imported by the command that needs it."""
