"""From an executed notebook to a PDF: nbconvert exporters that write Typst.

``report.exporter``  the exporters, for ``jupyter nbconvert --to report.exporter.TypstPDFExporter``
``report.freshness`` whether the saved outputs are those of the saved code
``report.markup``    Markdown, HTML and pictures to Typst (``markup.lua`` is its pandoc half)
``report.submit``    the pair of files a student hands in
``report.run``       a run of the notebook without a browser
"""
