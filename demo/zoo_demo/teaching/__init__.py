"""Teaching in the browser: photos are gathered into class folders, and the command line's own engine learns from them."""
