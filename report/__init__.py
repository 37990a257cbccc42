"""From an executed notebook to a PDF: nbconvert exporters that write Typst.

``__main__``   the commands ``python -m report build | submit | run``
``files``      reads notebooks, renders them, and writes files whole or not at all
``freshness``  whether the saved outputs are those of the saved code, and of a full run on the real data
``exporter``   the exporters, for ``jupyter nbconvert --to report.exporter.TypstPDFExporter``; what Typst
               cannot compile is found here and replaced by its alt text or source
``markup``     everything a cell or output may hold, as Typst: pictures, long outputs, and by way of
``markup.lua`` Markdown, HTML and LaTeX (run by pandoc): formulas, links between parts, widths of tables
``templates``  ``index.typ.j2``, the order of the parts; ``style.typ``, how they look and where they stand;
               ``conf.json``, by which nbconvert knows the template
``submit``     the pair of files a student hands in
``run``        a run of the notebook without a browser
"""
