"""Teaching in the browser: photos become class folders, and the command line's own engine learns from them."""
