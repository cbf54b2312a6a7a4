"""What users of other libraries reported, as tests named after the reports."""
