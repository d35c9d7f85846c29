"""The listening page: its data, pictures and blind tests."""
