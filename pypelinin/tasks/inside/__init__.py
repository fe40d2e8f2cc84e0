"""What runs in the slots: words and the standard library only, so that a slot stays light."""
