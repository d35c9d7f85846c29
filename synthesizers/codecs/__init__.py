"""Neural audio codecs: sound to codes and back."""
