-- Markdown, HTML and LaTeX fragments to Typst, all in one run of pandoc:
--     pandoc lua markup.lua < fragments.json > typst.json
-- In:  {"fragments": [{"format": one of pandoc's readers, "text": …, "key": …, "headings": bool}, …],
--       "rejected": [key of a formula, …]}; formulas that Typst refused stay LaTeX
-- Out: {"title": …, "heading": its code, "formulas": {key: code}, and one each for every fragment,
--       "typst": [code, …], "images": [[source, …], …]}
-- Each fragment is a document of its own: nothing left open in one can reach the next, but for macros and labels.

local OPTIONS = pandoc.WriterOptions { wrap_text = 'none' }

-- A JSON string is a Typst string: both know \" \\ \n, and Python has removed control characters.
local quote = pandoc.json.encode
local function typst(code) return pandoc.RawInline('typst', code) end

-- `#head[inlines]`, as a Span, so that filters go on into the inlines; the semicolon ends the call
-- whatever comes next, and with `#none` in front no "2." begins a list.
local function call(head, inlines)
  return pandoc.Span(pandoc.Inlines { typst('#' .. head .. '[#none;') } .. pandoc.Inlines(inlines) .. { typst('];') })
end

-- What an address inside the document and a heading's text have in common, however Jupyter, GitHub or the
-- author by hand wrote it: "#2.-Mô-hình", "#2-mô-hình", "#2.%20Mô%20hình".
local function place(text)
  text = text:gsub('%%(%x%x)', function(code) return string.char(tonumber(code, 16)) end)
  return 'muc-' .. pandoc.text.lower(text):gsub('[%s%p]', '')
end
local function anchor(name) return typst('#anchor(' .. quote(place(name)) .. ');') end

-- Raw HTML inside Markdown: write it all as HTML and read that back, so that tags meet their text.
-- Formulas travel as code with an attribute, which HTML keeps.
local function absorb_html(doc)
  local found = false
  local function see(raw) found = found or raw.format == 'html' end
  doc:walk { RawInline = see, RawBlock = see }
  if not found then return doc end
  doc = doc:walk { Math = function(math) return pandoc.Code(math.text, { mathtype = math.mathtype }) end }
  return pandoc.read(pandoc.write(doc, 'html'), 'html-auto_identifiers')
end

-- The filters below go into what they return, but do not look at its outermost elements again: a table
-- straight inside a Div, or a formula inside a Span, must stand in its place before they run.
local function anchored(element, content) -- its anchor before it
  local name, blocks = element.identifier, pandoc.utils.type(content) == 'Blocks'
  element.identifier = ''
  return name == '' and content or { blocks and pandoc.Plain { anchor(name) } or anchor(name) } .. content
end
local UNWRAPPED = {
  Div = function(div) return anchored(div, div.content) end,
  Span = function(span) return anchored(span, span.content) end,
  Link = function(link) return anchored(link, pandoc.Inlines { link }) end,
  Table = function(tbl) return anchored(tbl, pandoc.Blocks { tbl }) end,
  Figure = function(figure)
    local caption = figure.caption.long
    local alt = figure.content[1] and pandoc.utils.stringify(figure.content[1]) -- of `![alt](picture)`
    if pandoc.utils.stringify(caption) == alt then caption = pandoc.Blocks {} end
    local apart = function(block) return block.t == 'Plain' and pandoc.Para(block.content) or block end
    return anchored(figure, figure.content .. caption:map(apart))
  end,
  Header = function(header)
    header.content = anchored(header, header.content)
    return header
  end,
  Code = function(code)
    local kind = code.attributes.mathtype
    if kind == 'InlineMath' or kind == 'DisplayMath' then return pandoc.Math(kind, code.text) end
  end,
}

-- Macros serve all formulas that follow, as in MathJax; definitions are taken out of the formula they stand in.
local macros, rejected, formulas = '', {}, {}
local DEFINITIONS = pandoc.List {}
for _, head in ipairs { '\\%a*command%*?%s*%b{}', '\\%a*command%*?%s*\\%a+', '\\DeclareMathOperator%*?%s*%b{}',
  '\\DeclareMathOperator%*?%s*\\%a+', '\\def%s*\\%a+[#%d]*' } do
  for _, options in ipairs { '%s*%b[]%s*%b[]', '%s*%b[]', '' } do DEFINITIONS:insert(head .. options .. '%s*%b{}') end
end
local function expanded(tex)
  tex = tex:gsub('\\let%s*(\\%a+)%s*=?%s*(\\%a+)', '\\newcommand{%1}{%2}'):gsub('\\ce%s*(%b{})', function(group)
    group = group:gsub('([%a)%]])(%d+)', '%1_{%2}'):gsub('([%a}])([+-])%f[%s}]', '%1^{%2}'):gsub('%^(%d*[+-])', '^{%1}')
    return '\\mathrm' .. group:gsub('<=>', '\\rightleftharpoons '):gsub('%->', '\\rightarrow ')
  end)
  for _, definition in ipairs(DEFINITIONS) do
    tex = tex:gsub(definition, function(found)
      macros = macros .. found .. '\n'
      return ''
    end)
  end
  if macros == '' or not tex:find('\\', 1, true) then return tex end
  local done, doc = pcall(pandoc.read, macros .. '\n\n$' .. tex .. '$', 'latex') -- not where a macro calls itself
  local read = done and #doc.blocks == 1 and #doc.blocks[1].content == 1 and doc.blocks[1].content[1]
  return read and read.t == 'Math' and read.text or tex
end

-- Labels of formulas -> the numbers they are cited by: their tag's, or the next one.
local numbers, count = {}, 0
local function rows_of_formula(tex, visit)
  return ((tex .. '\\\\'):gsub('(.-)\\\\', visit):gsub('\\\\$', ''))
end
local function collect_labels(math)
  rows_of_formula(math.text, function(row)
    for label in row:gmatch('\\label%s*{(.-)}') do
      count = count + 1
      numbers[label] = row:match('\\tag%*?%s*{(.-)}') or tostring(count)
    end
  end)
end
local function cite(kind, label) return (kind == 'eq' and '(%s)' or '%s'):format(numbers[label] or label) end
local function numbered(tex)
  tex = rows_of_formula(tex, function(row)
    row = row:gsub('\\label%s*{(.-)}', row:find('\\tag', 1, true) and '' or function(label)
      return '\\tag{' .. (numbers[label] or label) .. '}'
    end)
    -- A tag belongs at the end of its row, which may end before its environment does.
    return row:gsub('^(.*)\\tag(%*?)%s*{(.-)}(.*)$', function(before, star, tag, after)
      local body, close = after:match('^(.-)(\\end%s*{.*)$')
      local shown = '\\qquad\\text{' .. (star == '' and '(' .. tag .. ')' or tag) .. '}'
      return before .. (body or after) .. shown .. (close or '')
    end) .. '\\\\'
  end)
  tex = tex:gsub('\\(e?q?)ref%s*{(.-)}', function(kind, label) return '\\text{' .. cite(kind, label) .. '}' end)
  return (tex:gsub('\\require%s*%b{}', ''))
end

-- What pandoc does not read, in words that it reads; names that it writes, as Typst has them now.
local TEX = { ['\\nonumber'] = '', ['\\notag'] = '', ['\\mathstrut'] = '', ['\\smash'] = '', ['\\cfrac'] = '\\frac',
  ['\\dbinom'] = '\\binom', ['\\tbinom'] = '\\binom', ['\\Bbb'] = '\\mathbb', ['\\degree'] = '{}^\\circ' }
local TYPST = { sect = 'inter', ['sect.big'] = 'inter.big', ['dot.circle'] = 'dot.o', ['dot.circle.big'] = 'dot.o.big',
  ['times.circle'] = 'times.o', ['times.circle.big'] = 'times.o.big', ['minus.circle'] = 'minus.o' }

-- Plain TeX's fractions and fonts, which reach to the end of their group: {a \over b}, {\bf x}.
local FONTS = { 'rm', 'bf', 'it', 'sf', 'tt', 'cal' }
local function grouped(tex)
  tex = tex:gsub('%b{}', function(group) return '{' .. grouped(group:sub(2, -2)) .. '}' end)
  tex = tex:gsub('^(.-)\\over%f[%A](.*)$', '\\frac{%1}{%2}')
  for _, font in ipairs(FONTS) do tex = tex:gsub('\\' .. font .. '%f[%A]%s*(.*)$', '\\math' .. font .. '{%1}') end
  return tex
end

-- Pandoc makes a matrix of what stands in fences, runs the columns of the rest together, and loses the rules between
-- them: the first cell of each array or matrix gets a mark, by which Typst's code is put right.
local function marked(tex, name)
  local before, rows, after = tex:match('^(.*)\\begin%s*{' .. name .. '}(.-)\\end%s*{' .. name .. '}(.*)$') -- innermost
  if not before then return (tex:gsub('\\opens', '\\begin'):gsub('\\closes', '\\end')) end
  local spec, down, across, column, row = '', '', '', 0, 0
  if name == 'array' then spec, rows = rows:match('^%s*(%b{})(.*)$') end
  for mark in spec:gmatch('[lcr|]') do
    if mark == '|' then down = down .. column .. ', ' else column = column + 1 end
  end
  for mark in rows:gmatch('\\[\\h]l?i?n?e?') do
    if mark == '\\hline' then across = across .. row .. ', ' elseif mark == '\\\\' then row = row + 1 end
  end
  local fenced = before:match('\\left%s*\\?[^%s\\.]%a*%s*$') and after:match('^%s*\\right')
  local kind, columns = fenced and 'array' or 'Bmatrix', fenced and (spec ~= '' and spec or '{c}') or ''
  local mark = ('\\opens{%s}%s\\text{§%s;%s;%s}'):format(kind, columns, across, down, fenced and 'fenced' or '')
  rows = rows:gsub('\\hline', ''):gsub('\\\\%s*$', '') -- no empty row under the last rule
  return marked(before .. mark .. rows .. '\\closes{' .. kind .. '}' .. after, name)
end
local function unmarked(code)
  local matrix = 'mat%(delim: ("[^"]*"), (upright%("§([^;]*);([^;]*);(%a*)"%))'
  code = code:gsub(matrix, function(delim, mark, rows, columns, fenced)
    local rules = rows .. columns ~= '' and ('augment: #(hline: (%s), vline: (%s)), '):format(rows, columns) or ''
    return ('mat(%sdelim: %s, %s'):format(rules, fenced ~= '' and delim or '#none', mark)
  end)
  return (code:gsub('upright%("§[^"]*"%)%s*%f[,;]', 'zws'):gsub('upright%("§[^"]*"%) ?', ''))
end

local function equation(math, key)
  local labels, tex = pandoc.List {}, expanded(math.text)
  for label in tex:gmatch('\\label%s*{(.-)}') do labels:insert(anchor('eq-' .. label)) end
  local kind, cited = tex:match('^%s*\\(e?q?)ref%s*{([^{}]*)}%s*$')
  if cited then return call('goto(' .. quote(place('eq-' .. cited)) .. ')', { pandoc.Str(cite(kind, cited)) }) end
  tex = numbered(tex):gsub('\\%a+', TEX):gsub('\\textcolor%s*%b{}', ''):gsub('(%d){,}(%d)', '%1\\text{,}%2')
  tex = grouped(tex)
  for _, name in ipairs { 'array', 'smallmatrix', 'matrix' } do tex = marked(tex, name) end
  tex = tex:gsub('(\\begin%s*{cases})(.-)(\\end%s*{cases})', function(open, rows, close)
    return open .. (rows:find('&', 1, true) and rows or rows:gsub('\\\\', ' &\\\\') .. ' &') .. close
  end)
  if not tex:match('%S') then return pandoc.Str('') end -- without an alt text, so no formula
  -- Pandoc takes `\|` for "parallel", which is set as a relation and not as a fence.
  local opens, fenced = false, (' ' .. tex):gsub('\\[lr]?Vert%f[%A]', '\\|'):gsub('(\\%a+%s*)\\|', function(head)
    return (head:match('^\\left%f[%A]') or head:match('^\\right%f[%A]')) and head .. '\\Vert '
  end)
  fenced = fenced:gsub('([^\\])\\|', function(before)
    opens = not opens
    return before .. (opens and '\\lVert ' or '\\rVert ')
  end)
  if opens then fenced = tex end
  local body = pandoc.write(pandoc.Pandoc { pandoc.Plain { pandoc.Math(math.mathtype, fenced) } }, 'typst', OPTIONS)
  local code, end_of_body = body:match('^(%$.*%$)(.-)%s*$')
  if not code or end_of_body ~= '' or rejected[key] then return pandoc.Code(math.text) end -- beyond pandoc or Typst
  code = unmarked(code)
  code = code:gsub('cases%b()', function(rows) return (rows:gsub(' & ', ' quad & ')) end)
  code = code:gsub('(%d+) upright%(","%) (%d+)', '"%1,%2"')
  code = code:gsub('%a[%a.]+', TYPST):gsub('delim: "||"', tex:find('Vmatrix', 1, true) and 'delim: "‖"' or 'delim: "|"')
  local display = math.mathtype == 'DisplayMath'
  local rows = tex:find('\\begin', 1, true) or tex:find('\\\\', 1, true) -- no line may end inside it
  local set = rows and 'formula' or display and 'formula.with(breaks: true)' or 'math.equation'
  local alt = quote((math.text:gsub('%s+', ' ')))
  formulas[key] = ('#%s(block: %s, alt: %s, %s.body);'):format(set, display, alt, code)
  return pandoc.Inlines(labels) .. { typst(formulas[key]) }
end

-- "Hình 3", "Bảng 3", and the section that begins with "Bài 3" or "Mục 3" become links; the template
-- leaves those without a target as they are.
local TARGETS = { ['[Hh]ình'] = 'hinh-', ['[Bb]ảng'] = 'bang-', ['[Bb]ài'] = 'bai-', ['[Mm]ục'] = 'muc-' }
local sections = {} -- "bai-3" -> label of its heading

-- What a mention such as "(Hình 3)," leads to, and its text before, inside and after the link.
local function mention(text)
  for noun, kind in pairs(TARGETS) do
    local before, name, digits, after = text:match('^(.-)(' .. noun .. ') (%d+)(.*)$')
    if name then
      local target = kind .. digits
      if kind == 'bai-' or kind == 'muc-' then target = sections[target] end
      return target, before, name .. '\u{a0}' .. digits, after
    end
  end
end

local BARE_CALLS = { Emph = true, Strong = true, Strikeout = true, Note = true, Underline = true,
  Superscript = true, Subscript = true, SmallCaps = true }
local function references(inlines)
  for i, word in ipairs(inlines) do
    local last, gap, number = inlines[i - 1] or {}, inlines[i + 1], inlines[i + 2] or {}
    if word.t == 'Str' and word.text:find('ref{', 1, true) then -- \eqref outside of a formula
      local before, kind, label, after = word.text:match('^(.-)\\(e?q?)ref{(.-)}(.*)$')
      if label then
        local link = call('goto(' .. quote(place('eq-' .. label)) .. ')', { pandoc.Str(cite(kind, label)) })
        inlines[i] = pandoc.Span { pandoc.Str(before), link, pandoc.Str(after) }
      end
    end
    if word.t == 'Str' and number.t == 'Str' and (gap.t == 'Space' or gap.t == 'SoftBreak') then
      local target, before, name, after = mention(pandoc.utils.stringify { word, gap, number })
      if target then
        local link = call('goto(' .. quote(target) .. ')', pandoc.Inlines { pandoc.Str(name) })
        inlines[i] = pandoc.Span { pandoc.Str(before), link }
        inlines[i + 1], inlines[i + 2] = pandoc.Str(''), pandoc.Str(after)
      end
    elseif word.t == 'Space' and number.t and (last.text == '±' or gap.text == '±') then
      inlines[i] = pandoc.Str('\u{a0}') -- "97,25 ± 0,33" stays on one line
    end
    -- `*word*.next` would otherwise be read by Typst as a field of the emphasis.
    if BARE_CALLS[last.t] and word.t == 'Str' and word.text:match('^%.%a') then
      inlines[i] = pandoc.Span { typst(';'), inlines[i] }
    end
  end
  return inlines
end

-- About how wide a text is, in units of its type size.
local function width_of(text)
  text = text:gsub('\u{a0}', ' ')
  local _, wide = text:gsub('[%umw]', '')
  local _, thin = text:gsub('[%s,.;:ilt]', '')
  return 0.455 * utf8.len(text) + 0.23 * wide - 0.17 * thin
end

-- Zero-width spaces, where a long name may be broken.
local function breakable(text)
  return (text:gsub('([_/=,.])(%a)', '%1\u{200b}%2'):gsub('(%l)(%u)', '%1\u{200b}%2'):gsub('[%w%p]+', function(word)
    return #word > 24 and word:gsub(('.'):rep(12), '%0\u{200b}') or word
  end))
end

-- The rows of a table, part by part, as no cell spans two of them: `visit(part, name of its rows, is it the body?)`.
local function each_part(tbl, visit)
  visit(tbl.head, 'rows', false)
  for _, body in ipairs(tbl.bodies) do
    visit(body, 'head', false)
    visit(body, 'body', true)
  end
  visit(tbl.foot, 'rows', false)
end

-- What stands in each row and column: a cell that spans several stands in all of them.
local function grid_of(rows)
  local grid = {}
  for r = 1, #rows do grid[r] = {} end
  for r, row in ipairs(rows) do
    local c = 1
    for _, cell in ipairs(row.cells) do
      while grid[r][c] do c = c + 1 end
      local origin = { cell = cell, row = r }
      for down = r, math.min(r + cell.row_span - 1, #rows) do
        for across = c, c + cell.col_span - 1 do grid[down][across] = origin end
      end
    end
  end
  return grid
end

-- Some columns of a table's rows; of a cell that spans more, what it spans of these.
local function pick(rows, columns)
  local grid, result = grid_of(rows), pandoc.List {}
  local function at(y, x) return (grid[y] or {})[columns[x]] end
  for y in ipairs(rows) do
    local cells = pandoc.List {}
    for x in ipairs(columns) do
      local origin = at(y, x)
      if not origin then
        cells:insert(pandoc.Cell {})
      elseif at(y - 1, x) ~= origin and at(y, x - 1) ~= origin then
        local down, across = 1, 1
        while at(y + down, x) == origin do down = down + 1 end
        while at(y, x + across) == origin do across = across + 1 end
        cells:insert(pandoc.Cell(origin.cell.contents, origin.cell.alignment, down, across))
      end
    end
    result:insert(pandoc.Row(cells))
  end
  return result
end

-- A column without an alignment of its own goes right when all its cells are numbers. Returns what each
-- column needs, at least and on one line, in units of the type size.
local function look(tbl)
  local least, most, numeric, seen = {}, {}, {}, {}
  each_part(tbl, function(part, name, is_body)
    for r, row in ipairs(grid_of(part[name])) do
      for i, origin in pairs(row) do
        local cell = origin.cell
        local text, share = pandoc.utils.stringify(cell.contents), 1 / cell.col_span
        cell.attr = pandoc.Attr()
        if cell.col_span > 1 then cell.alignment = 'AlignCenter' end
        if is_body and origin.row == r then
          seen[i] = seen[i] or text:match('%d')
          local number = text == '' or text == 'NaN' or text:match('^[-+−±]?[%d.,]+[%d.,eE+−%-%%]*$')
          numeric[i] = numeric[i] ~= false and number ~= nil
        end
        most[i] = math.max(most[i] or 0, width_of(text) * share + 1.05)
        for word in breakable(text):gsub('\u{200b}', ' '):gmatch('%S+') do
          least[i] = math.max(least[i] or 0, width_of(word) * share + 1.05)
        end
      end
    end
  end)
  for i, spec in ipairs(tbl.colspecs) do
    local right = spec[1] == 'AlignDefault' and seen[i] and numeric[i]
    tbl.colspecs[i] = { right and 'AlignRight' or spec[1], nil } -- widths: the template's business
    least[i], most[i] = least[i] or 1.05, most[i] or 1.05
  end
  return least, most
end

-- A table that is wider than the line gets columns that wrap, then smaller text; and what is too wide
-- even so is set in bands of columns, each beginning with the columns of the index.
local LINE, SIZE, SMALLEST = 480, 8.5, 6 -- points
local function fit(tbl, banded)
  local least, most = look(tbl)
  local need, natural = 0, 0
  for i = 1, #least do need, natural = need + least[i], natural + most[i] end
  if natural * SIZE <= LINE then return { tbl } end
  local index = tbl.bodies[1] and math.max(1, tbl.bodies[1].row_head_columns) or 1
  if need * (banded and SIZE or SMALLEST) > LINE and #least > index + 1 then
    local columns, rest, width = pandoc.List {}, pandoc.List {}, 0
    for i, needed in ipairs(least) do
      width = width + needed
      local fits = width * SIZE <= LINE or i == index + 1
      if i <= index or fits then columns:insert(i) end
      if i <= index or not fits then rest:insert(i) end
    end
    local function only(some)
      local band = tbl:clone()
      band.colspecs = some:map(function(i) return tbl.colspecs[i] end)
      each_part(band, function(part, name) part[name] = pick(part[name], some) end)
      return fit(band, true)
    end
    if #rest > index then return pandoc.Blocks(only(columns)) .. only(rest) end
  end
  local size = math.max(math.min(SIZE, LINE / need), 4)
  local room = math.max(LINE / size, need)
  for i, spec in ipairs(tbl.colspecs) do
    local share = (most[i] - least[i]) / math.max(natural - need, 0.01)
    tbl.colspecs[i] = { spec[1], math.min(most[i], least[i] + (room - need) * share) / room }
  end
  tbl = tbl:walk { Str = function(s) return pandoc.Str(breakable(s.text)) end,
    Code = function(c) return pandoc.Code(breakable(c.text), c.attr) end }
  return { pandoc.RawBlock('typst', ('#sized(%.1fpt)['):format(size)), tbl, pandoc.RawBlock('typst', ']') }
end

local times = {} -- how often a heading's text occurs
local title -- what stands in it
local level, shift = 0, 0 -- the last heading's level; how many levels the title takes away

local function filter(fragment)
  local function paragraph(block)
    if #block.content == 1 and block.content[1].t == 'Image' then
      block.content[1].attributes.alone = 'true'
    elseif #block.content == 1 and block.content[1].t == 'Strong' then -- a heading in all but name
      return pandoc.Plain { call('block(sticky: true, spacing: 0.85em)', block.content) }
    end
    return block
  end
  return {
    traverse = 'topdown',
    Header = function(header)
      if not fragment.headings then return pandoc.Para { pandoc.Strong(header.content) } end
      if header.level <= shift then -- the title
        title = header.content
        return pandoc.Plain { anchor(pandoc.utils.stringify(header)) }
      end
      local words = header:walk { Image = function() return {} end }
      if not pandoc.utils.stringify(words):match('%S') then return pandoc.Para(header.content) end -- PDF/UA
      level = math.max(1, math.min(header.level - shift, level + 1)) -- PDF/UA: none may be skipped
      -- A heading that comes again and again, as "Đề bài" does, is none for the contents.
      local again = level > 1 and times[pandoc.utils.stringify(header)] > 1
      local head = ('heading(level: %d, outlined: %s, bookmarked: true)'):format(level, not again)
      local function unlisted(inline) return call('unlisted', { inline }) end
      return pandoc.Plain { call(head, header.content:walk { Note = unlisted, Image = unlisted }),
        typst(' #label(' .. quote(place(pandoc.utils.stringify(header))) .. ')') }
    end,
    Para = paragraph,
    Plain = paragraph,
    Image = function(img)
      fragment.images:insert(img.src)
      local alt = pandoc.utils.stringify(img.caption)
      if alt == '' then
        alt = img.title ~= '' and img.title or img.src:match('^data:') and 'ảnh' or img.src:match('[^/]*$')
      end
      local style, size = ';' .. (img.attributes.style or ''), {}
      for _, side in ipairs { 'width', 'height' } do
        size[side] = quote(style:match('[;%s]' .. side .. '%s*:%s*([^;]+)') or img.attributes[side] or '')
      end
      local before = img.identifier == '' and '' or anchor(img.identifier).text
      return typst(('%s#picture(%s, %s, width: %s, height: %s, inline: %s);'):format(before,
        quote(fragment.key .. '-' .. #fragment.images), quote(alt), size.width, size.height, not img.attributes.alone))
    end,
    Math = function(math) return equation(math, fragment.key .. ' ' .. math.text) end,
    Link = function(link)
      if link.target:match('^#') then
        return call('goto(' .. quote(place(link.target:sub(2))) .. ')', link.content)
      elseif link.target:match('^%a[%w+.-]*:') then
        return call('link(' .. quote(link.target) .. ')', link.content)
      end
      return pandoc.Span(link.content) -- a file beside the notebook, which the reader of a PDF does not have
    end,
    HorizontalRule = function() return pandoc.RawBlock('typst', '#separator') end,
    Table = function(tbl)
      local caption = tbl.caption.long
      tbl.caption = pandoc.Caption()
      tbl.classes = { 'typst:no-figure' }
      for r, row in ipairs(tbl.head.rows) do -- the template sets the first row in bold
        for _, cell in ipairs(r > 1 and row.cells or {}) do
          local function bold(plain) return pandoc.Plain { pandoc.Strong(plain.content) } end
          cell.contents = cell.contents:walk { Plain = bold }
        end
      end
      return caption .. pandoc.Blocks(fit(tbl))
    end,
  }
end

local input = pandoc.json.decode(io.read('a'))
local fragments = input.fragments
for _, key in ipairs(input.rejected) do rejected[key] = true end
local headings = pandoc.List {}
for _, fragment in ipairs(fragments) do
  fragment.source = pandoc.Pandoc { pandoc.CodeBlock(fragment.text) } -- shown where something goes wrong below
  local read, doc = pcall(function()
    return absorb_html(pandoc.read(fragment.text, fragment.format)):walk(UNWRAPPED)
  end)
  fragment.doc = read and doc or fragment.source
  fragment.doc:walk { Math = collect_labels }
  if fragment.headings then fragment.doc:walk { Header = function(header) headings:insert(header) end } end
end
for _, header in ipairs(headings) do
  local name = pandoc.utils.stringify(header)
  times[name] = (times[name] or 0) + 1
  for noun, kind in pairs(TARGETS) do
    local digits = name:match('^' .. noun .. ' (%d+)')
    if digits then sections[kind .. digits] = place(name) end
  end
end

local result = { title = '', heading = '', typst = pandoc.List {}, images = pandoc.List {} }
-- The one heading of level 1, if the notebook begins with it, is the document's title.
local tops = headings:filter(function(header) return header.level == 1 end)
if #tops == 1 and headings[1].level == 1 then
  local words = tops[1].content:walk { Image = function() return {} end, Math = function(math)
    return pandoc.Str((pandoc.write(pandoc.Pandoc { pandoc.Plain { math } }, 'plain'):gsub('^%s*$?(.-)$?%s*$', '%1')))
  end }
  result.title, shift = pandoc.utils.stringify(words):gsub('%s+$', ''), 1
end
for _, fragment in ipairs(fragments) do
  fragment.images = pandoc.List {}
  local _, doc = pcall(function()
    return fragment.doc:walk({ traverse = 'topdown', Inlines = references,
      Header = function(header) return header, false end }):walk(filter(fragment))
  end)
  result.typst:insert(pandoc.write(type(doc) == 'userdata' and doc or fragment.source, 'typst', OPTIONS))
  if title then
    result.heading = pandoc.write(pandoc.Pandoc { pandoc.Plain(title) }:walk(filter(fragment)), 'typst', OPTIONS)
    title = nil
  end
  result.images:insert(fragment.images)
end
result.formulas = formulas
io.write(pandoc.json.encode(result))
