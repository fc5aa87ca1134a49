// A panel of words: Markdown, through Grafana's own renderer and sanitiser.
import { renderTextPanelMarkdown } from "@grafana/data";
import type { Drawing } from "./context.ts";

export function Text({ panel, replace }: Drawing) {
  const content = replace(String(panel.options?.content ?? ""));
  return <div className="markdown-html" dangerouslySetInnerHTML={{ __html: renderTextPanelMarkdown(content) }} />;
}
