"""A sweep and its record as something to read: one page, or the same numbers as JSON or Markdown.

Every number comes from the file or the record.

    numbers     all of it as values; as JSON they are the report for programs
    rows        of these, what the record says: reliability, histograms, classes
    sections    sentences, tables and settings, in the order in which they are read
    charts      figures for plotly, whose colours are names until a page gives them values
    page        sections and charts as HTML that asks no other host for anything
    markdown    sections as Markdown
"""
