"""Where photos and labels come from: folders, tables, splits."""
