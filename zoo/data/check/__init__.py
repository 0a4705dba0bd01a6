"""The dataset doctor: what is wrong with a labelled set of photos, told before anything is trained on it.

    report = zoo.check_data("./photos")
    write_exclusions(Path("exclude.csv"), exclusions(report))

`zoo.data.check.examine` has the examinations, `fix` what to do about their findings, `report` the values.
"""
