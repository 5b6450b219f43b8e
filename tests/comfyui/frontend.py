"""ComfyUI's own page in a browser, used as a person would."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from .server import PACK

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
]


class Frontend:
    """The open page.

    Args:
        page: A blank Playwright page.
        url: The server's address.
    """

    def __init__(self, page, url: str):
        self.page = page
        self.errors: list[str] = []  # of this pack's scripts
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self._note(f"{error}\n{error.stack}"))
        page.goto(url, wait_until="domcontentloaded")
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        self.page.wait_for_function(
            "() => window.app?.graph && window.LiteGraph?.registered_node_types.LoadVideo", timeout=60_000
        )

    def reload(self) -> None:
        """Load the page anew, as a person who comes back to it."""
        self.page.reload(wait_until="domcontentloaded")
        self._wait_until_ready()

    def _on_console(self, message) -> None:
        if message.type == "error":
            self._note(f"{message.text} ({message.location.get('url')})")

    def _note(self, text: str) -> None:
        if f"/extensions/{PACK}/" in text:
            self.errors.append(text)

    def open_workflow(self, path: Path) -> None:
        """Load a workflow file into the canvas, as a drop of the file does."""
        self.page.evaluate("workflow => app.loadGraphData(workflow)", json.loads(path.read_text()))

    def clear(self) -> None:
        """Leave an empty canvas, and no dialog over it."""
        self.page.keyboard.press("Escape")
        # One that is still closing would take the next one of its kind away with it.
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('[role=dialog]')].every(it => !it.checkVisibility())",
            timeout=10_000,
        )
        self.page.evaluate("() => app.graph.clear()")

    def use_clip(self, file: str) -> None:
        """Put Load Video with an uploaded file in the place of Load Demo Clip, as the templates say."""
        self.page.evaluate(
            """() => {
              for (const demo of app.graph.nodes.filter(n => n.type === 'SpatialDreamerLoadDemoClip')) {
                const loader = LiteGraph.createNode('LoadVideo')
                loader.pos = [...demo.pos]
                app.graph.add(loader)
                for (const id of [...demo.outputs[0].links]) {
                  const link = app.graph.links.get(id)
                  loader.connect(0, app.graph.getNodeById(link.target_id), link.target_slot)
                }
                app.graph.remove(demo)
              }
            }"""
        )
        self.set_widget("LoadVideo", "file", file)

    def set_renderer(self, name: str) -> None:
        """Draw nodes by the canvas ("litegraph") or as elements of the page ("vue", Nodes 2.0)."""
        self.page.evaluate(
            "async on => { await app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on) }",
            name == "vue",
        )
        self.page.wait_for_function("on => !!LiteGraph.vueNodesMode === on", arg=name == "vue")

    def overlapping_nodes(self) -> list[str]:
        """List the pairs of nodes, by title, whose boxes as they are drawn share more than an edge."""
        if self.page.evaluate("() => LiteGraph.vueNodesMode"):
            self.page.wait_for_function(
                "() => document.querySelectorAll('[data-node-id]').length === app.graph.nodes.length"
            )
        self.page.wait_for_timeout(500)  # nodes grow by what they show
        return self.page.evaluate(
            """() => {
              const boxes = LiteGraph.vueNodesMode
                ? [...document.querySelectorAll('[data-node-id]')].map(element => {
                    const {left, top, right, bottom} = element.getBoundingClientRect()
                    return [app.graph.getNodeById(element.dataset.nodeId).title, left, top, right, bottom]
                  })
                : app.graph.nodes.map(node => {
                    const [left, top, width, height] = node.getBounding()
                    return [node.title, left, top, left + width, top + height]
                  })
              return boxes.flatMap((a, index) => boxes.slice(0, index)
                .filter(b => Math.min(a[3], b[3]) - Math.max(a[1], b[1]) > 1)
                .filter(b => Math.min(a[4], b[4]) - Math.max(a[2], b[2]) > 1)
                .map(b => `${a[0]} and ${b[0]}`))
            }"""
        )

    def missing_nodes(self) -> list[str]:
        """List the types of nodes that are drawn red because the server has none such."""
        return self.page.evaluate(
            "() => app.graph.nodes.filter(n => !LiteGraph.registered_node_types[n.type]).map(n => n.type)"
        )

    def list_missing_models(self) -> None:
        """Wait until the page tells of missing models; newer pages list them on demand."""
        details = self.page.get_by_role("button", name="View details")
        details.or_(self.page.get_by_role("button", name="Copy URL")).first.wait_for(timeout=15_000)
        if details.is_visible():
            details.click()
        self.page.get_by_role("button", name="Copy URL").first.wait_for(timeout=15_000)

    def copied_url(self) -> str:
        """Press the first button that copies the address of a missing model, and return the address."""
        self.page.evaluate(
            """() => {
              window.copied = ''
              navigator.clipboard.writeText = async text => { window.copied = text }
            }"""
        )
        self.page.get_by_role("button", name="Copy URL").first.click()
        return self.page.wait_for_function("() => window.copied", timeout=5_000).json_value()

    def set_widget(self, node_type: str, widget: str, value) -> None:
        """Set a widget on every node of a type."""
        self.page.evaluate(
            """([type, name, value]) => {
              for (const node of app.graph.nodes.filter(n => n.type === type)) {
                const widget = node.widgets.find(w => w.name === name)
                widget.value = value
                widget.callback?.(value)
              }
            }""",
            [node_type, widget, value],
        )

    def queue(self, timeout: float = 120) -> str | None:
        """Queue the workflow and wait for its end; return the error's text, or None after a success."""
        return self.page.evaluate(
            """timeout => new Promise((resolve, reject) => {
              const listen = (event, callback) =>
                window.comfyAPI.api.api.addEventListener(event, callback, {once: true})
              listen('execution_success', () => resolve(null))
              listen('execution_error', event => resolve(event.detail.exception_message))
              setTimeout(() => reject(new Error('nothing was executed in time')), timeout * 1000)
              app.queuePrompt(0).then(() => {
                if (Object.keys(app.lastNodeErrors ?? {}).length) resolve(JSON.stringify(app.lastNodeErrors))
              })
            })""",
            timeout,
        )

    def search_nodes(self, words: str) -> list[str]:
        """Type words into the search box for nodes and list the names that it offers first."""
        self.page.evaluate("() => app.extensionManager.command.execute('Workspace.SearchBox.Toggle')")
        self.page.get_by_role("combobox").first.wait_for(timeout=10_000)
        self.page.keyboard.type(words)
        options = self.page.get_by_role("option")
        options.filter(has_text=re.compile(re.escape(words), re.IGNORECASE)).first.wait_for(timeout=10_000)
        self.page.wait_for_timeout(500)  # the list follows the typing
        names = [text.strip().splitlines()[0].strip() for text in options.all_inner_texts() if text.strip()]
        self.page.keyboard.press("Escape")
        self.page.get_by_role("option").first.wait_for(state="detached", timeout=10_000)
        return names

    def add_node(self, node_type: str) -> bool:
        """Add a node to the canvas; return whether it could be made."""
        return self.page.evaluate(
            "type => { const node = LiteGraph.createNode(type); app.graph.add(node); return !!node }",
            node_type,
        )

    def add_from_search(self, words: str, name: str) -> str:
        """Choose a node or blueprint in the search box, as a person does; return its type."""
        before = self.page.evaluate("() => app.graph.nodes.length")
        self.page.evaluate("() => app.extensionManager.command.execute('Workspace.SearchBox.Toggle')")
        self.page.get_by_role("combobox").first.wait_for(timeout=10_000)
        self.page.keyboard.type(words)
        self.page.get_by_role("option", name=name).click(timeout=10_000)
        self.page.wait_for_function("before => app.graph.nodes.length > before", arg=before, timeout=10_000)
        return self.page.evaluate("() => app.graph.nodes.at(-1).type")

    def give_clip(self, node_type: str, file: str) -> None:
        """Add Load Video with an uploaded file left of a node, connected to its first input."""
        self.page.evaluate(
            """type => {
              const node = app.graph.nodes.find(n => n.type === type)
              const loader = LiteGraph.createNode('LoadVideo')
              loader.pos = [node.pos[0] - 500, node.pos[1]]
              app.graph.add(loader)
              loader.connect(0, node, 0)
            }""",
            node_type,
        )
        self.set_widget("LoadVideo", "file", file)

    def widgets(self, node_type: str) -> list[str]:
        """List the names of the widgets of a node; those of the page itself begin with two dollars."""
        names = self.page.evaluate(
            "type => app.graph.nodes.find(n => n.type === type).widgets.map(w => w.name)", node_type
        )
        return [name for name in names if not name.startswith("$$")]

    def nodes_without_result(self) -> list[str]:
        """List the output nodes that show no picture or playable video of their result.

        What a node shows while it runs does not count: a progress picture hides the result if it stays.
        """
        return self.page.evaluate(
            """() => app.graph.nodes.filter(n => n.constructor.nodeData?.output_node).filter(node => {
              const shown = LiteGraph.vueNodesMode
                ? [...document.querySelectorAll('[data-node-id]')].filter(e => e.dataset.nodeId == node.id)
                    .flatMap(e => [...e.querySelectorAll('img, video')])
                : [...(node.imgs ?? []), ...(node.videoContainer?.querySelectorAll('video') ?? []),
                   ...(node.widgets?.find(w => w.name === 'spatialdreamer_viewer')
                     ?.element.querySelectorAll('img, video') ?? [])]
              return !shown.some(e => e.src.includes('/view?') && (e.naturalWidth || e.videoWidth))
            }).map(node => node.type)"""
        )

    def shows_live_picture(self, node_type: str) -> bool:
        """Tell whether a node still shows a picture of its work, which comes through the websocket."""
        return self.page.evaluate(
            """type => {
              const node = app.graph.nodes.find(n => n.type === type)
              const drawn = [...document.querySelectorAll('[data-node-id]')]
                .filter(e => e.dataset.nodeId == node.id).flatMap(e => [...e.querySelectorAll('img')])
              const viewed = node.widgets.find(w => w.name === 'spatialdreamer_viewer')
                ?.element.querySelectorAll('img') ?? []
              return [...drawn, ...(node.imgs ?? []), ...viewed].some(image => image.src.startsWith('blob:'))
            }""",
            node_type,
        )

    def wait_for_results(self, timeout: float = 15) -> None:
        """Wait until every output node shows its result."""
        deadline = time.monotonic() + timeout
        while nodes := self.nodes_without_result():
            assert time.monotonic() < deadline, f"no result is shown by {nodes}"
            self.page.wait_for_timeout(200)
