"""The commands of the export, one file each: parse, call one library function, print."""
