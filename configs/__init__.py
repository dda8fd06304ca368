"""Config files: `base.py` holds every knob; each other file has one task and its variants."""
