"""``zoo data check``: finds problems of a labelled set of photos before anything is trained on it.

    report = zoo.check_data("./photos")
    write_exclusions(Path("exclude.csv"), list_exclusions(report))

`zoo.data.check.examine` runs the checks, `fix` acts on their findings, `report` defines the values.
"""
