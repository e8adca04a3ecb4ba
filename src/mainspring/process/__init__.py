"""Worker processes: a parent that watches (`supervisor`), children that work (`child`), and how an app is found (`locate`)."""
