// Mermaid's own parser, asked line by line: a JSON text in, what Mermaid made of it out, or its error.

import { createInterface } from "node:readline";
import DOMPurify from "dompurify";
import mermaid from "mermaid";

// Outside of a browser DOMPurify has nothing that sanitizes; only the parser is wanted.
DOMPurify.sanitize ??= (text) => text;
DOMPurify.addHook ??= () => {};

const decode = (text) =>
  text.replace(/ﬂ°°(\d+)¶ß/g, (_, code) => String.fromCodePoint(Number(code)));

async function parse(text) {
  const { diagramType } = await mermaid.parse(text);
  const body = text.replace(/^---\n.*\n---\n/, "");
  const { db } = await mermaid.mermaidAPI.getDiagramFromText(body);
  const states = [...db.getStates().entries()];
  return {
    type: diagramType,
    direction: db.getDirection(),
    states: Object.fromEntries(states.map(([id, state]) => [id, state.descriptions.map(decode)])),
    arrows: db.getRelations().map((each) => [each.id1, each.id2, decode(each.relationTitle ?? "")]),
    classes: Object.fromEntries(states.map(([id, state]) => [id, state.classes])),
  };
}

// The source of every rule of the lexer: in them stand the words that the grammar knows.
async function rules() {
  await mermaid.parse("stateDiagram-v2\n    a --> b");
  const { parser } = await mermaid.mermaidAPI.getDiagramFromText("stateDiagram-v2\n    a --> b");
  return (parser.parser ?? parser).lexer.rules.map((rule) => rule.source);
}

for await (const line of createInterface({ input: process.stdin })) {
  const text = JSON.parse(line);
  const answer = await (text === null ? rules() : parse(text)).catch((error) => ({ error: error.message }));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
