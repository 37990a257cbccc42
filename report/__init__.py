"""From an executed notebook to a PDF: nbconvert exporters that write Typst.

``__main__``   the commands ``python -m report build | submit | run | html``
``files``      reads notebooks or says which cell is at fault, renders them, writes files whole or not at all
``freshness``  whether the saved outputs are those of the saved code and of the run whose record they carry (the
               seal), of a full run on the real data
``exporter``   the exporters, for ``jupyter nbconvert --to report.exporter.TypstPDFExporter``; what Typst does not
               compile, or only PDF/UA-1 and PDF/A-2a forbid, is found here, replaced and named; no wait is endless
``markup``     everything a cell or output may hold, as Typst: the form that Jupyter shows, pictures as their bytes
               are, long outputs cut, text without what no font or PDF holds; and by way of
``browser``    (HTML made for a browser, as one reads it on paper) and
``markup.lua`` (Markdown, HTML and LaTeX, run by pandoc) formulas with their macros and labels, links between
               parts, widths and bands of tables
``templates``  ``index.typ.j2``, the order of the parts; ``style.typ``, how they look and where they stand;
               ``conf.json``, by which nbconvert knows the template
``submit``     the pair of files a student hands in
``run``        a run of the notebook without a browser
"""
