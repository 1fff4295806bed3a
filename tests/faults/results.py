def note(fault, survived, verdict): pass
