// Reads the operation and the table of an SQL text, and nothing else of it. As the exporter does (events/sql.py), but
// tables in brackets and those of WITH are left empty, to keep this short.

const NAME = /(?:"[^"]*"|`[^`]*`|\[[a-z_][^\]]*\]|[a-z_]\w*)/.source;
// What is passed over (comments and texts, also those that never end), brackets, and names, quoted and dotted.
const TOKEN = new RegExp(
  /--.*|^[ \t]*#.*|\/\*[^]*?(?:\*\/|$(?![^]))|\$([a-z_]\w*)?\$[^]*?(?:\$\1\$|$(?![^]))|'(?:[^']|'')*(?:'|$(?![^]))|([()])|/.source +
    `(${NAME}(?:\\s*\\.\\s*${NAME})*)`,
  "gim",
);
const MARKS: Record<string, string> = { select: "from", delete: "from", insert: "into", merge: "into", replace: "into", update: "" };
const listed = (names: string, name = "") => names.split(" ").includes(name);

export function statement(text: string): [operation: string, table: string] {
  const words = outside(text.slice(0, 10_000));
  const first = words[0] ?? "";
  if (listed("begin commit rollback savepoint release start end abort", first)) return ["transaction", ""];
  const isIndex = words.includes("index");
  // Whether a text ends at \' depends on the database: a word of the text must not be taken for a table.
  const after = (list: string[], at: number) => {
    const name = list.slice(at + 1).find((word) => !listed("only lateral if exists not table into from ignore low_priority", word));
    return name === undefined || name === "(" || text.includes("\\'") ? "" : name;
  };
  if (listed("create alter drop truncate reindex comment grant revoke", first)) {
    const isNew = first === "create" && !isIndex;
    return ["ddl", isNew ? "" : after(words, Math.max(words.indexOf(isIndex ? "on" : "table"), 0))];
  }
  const at = first === "with" ? words.findIndex((word) => Object.hasOwn(MARKS, word)) : 0;
  const verb = words[at] ?? "";
  const mark = Object.hasOwn(MARKS, verb) ? MARKS[verb] : undefined;
  if (mark === undefined) return ["", ""];
  const rest = words.slice(at + 1);
  const isUpsert = rest.some((word, i) => word === "on" && listed("conflict duplicate", rest[i + 1]));
  const operation = listed("merge replace", verb) || (verb === "insert" && isUpsert) ? "upsert" : verb;
  // "a IS DISTINCT FROM b" has a FROM that names no table.
  const marked = rest.findIndex((word, i) => word === mark && rest[i - 1] !== "distinct");
  const table = mark && marked < 0 ? "" : after(rest, marked);
  return [operation, words.slice(0, at).includes(table) ? "" : table.slice(0, 63)];
}

/** Lists the words outside brackets in lower case, and "(" for each pair of brackets. */
function outside(text: string): string[] {
  const words: string[] = [];
  let depth = 0;
  for (const [, , bracket, name] of text.replace(/^[\s(]+/, "").matchAll(TOKEN)) {
    if (bracket === "(" && !depth++) words.push(bracket);
    if (bracket === ")") depth--;
    if (name && !depth) words.push(name.replace(/^.*\.\s*(?=["`[\w])|["`[\]]/g, "").toLowerCase());
  }
  return words;
}
