"""One file and one documented function a verb: joins the rooms; the command line only prints."""
