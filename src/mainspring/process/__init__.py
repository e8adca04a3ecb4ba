"""Worker processes: a parent that watches (`supervisor`), children that work (`child`), the app by name (`locate`)."""
