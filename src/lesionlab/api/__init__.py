"""One file and one documented function a verb: connects the packages; the command only prints."""
