"""From an executed notebook to a PDF: nbconvert exporters that write Typst.

``__main__``   the commands ``python -m report build | submit | run``
``exporter``   the exporters, for ``jupyter nbconvert --to report.exporter.TypstPDFExporter``
``freshness``  whether the saved outputs are those of the saved code
``markup``     everything a cell or output may hold, as Typst: pictures, long outputs, and by way of
``markup.lua`` Markdown, HTML and LaTeX (run by pandoc): formulas, links between parts, widths of tables
``templates``  ``index.typ.j2``, the order of the parts; ``style.typ``, how they look and where they stand
``files``      reads notebooks, and writes files whole or not at all
``submit``     the pair of files a student hands in
``run``        a run of the notebook without a browser
"""
