"""One file a verb: parse, call one library function, print."""
