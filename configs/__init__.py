"""Config files: `base.py` holds every knob, each other file one task and its variants."""
