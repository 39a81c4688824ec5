"""The records of operation: dead letters, findings, and slots of the timetable."""
