"""A sweep and its record as something to read: one page, or the same numbers as JSON or Markdown.

Every number comes from the file or the record.

    numbers     all of it as values; as JSON they are the report for programs
    rows        of these, what the record says: reliability, histograms, classes
    contents    what a section holds: sentences, tables, settings, names of charts
    sections    all of them, in the order in which they are read
    charts      figures for plotly, whose colours are names until a page gives them values
    frontier, surfaces      of these, the points of the sweep
    page        sections and charts as HTML that asks no other host for anything
    markdown    sections as Markdown
"""
