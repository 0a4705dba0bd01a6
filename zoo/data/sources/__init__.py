"""Where photos and labels come from: plugins, folders and tables, their splits and exclusions."""
