"use strict";

// Asks for a key, fetches the OpenAPI document that this key may see, and shows it with Swagger UI. The key is kept in
// this tab alone (sessionStorage) and sent to this origin alone.

(() => {
  const HEADER = "X-DreamFactory-API-Key";
  const STORED_KEY = "tidegate.key";
  const STORED_SERVICE = "tidegate.service";
  // One document describes no more services than these.
  const MOST_TOGETHER = 100;
  // Relative to this page, so that the gateway may stand below a path of another server.
  const API = new URL("../api/v2", document.baseURI).href;

  const form = document.getElementById("key-form");
  const keyInput = document.getElementById("key");
  const serviceInput = document.getElementById("service");
  const loadButton = document.getElementById("load");
  const forgetButton = document.getElementById("forget");
  const status = document.getElementById("status");
  const hint = document.getElementById("hint");
  const view = document.getElementById("swagger-ui");

  let key = "";
  // Counts the loads, so that a slow answer to an older one is not shown.
  let turn = 0;

  function say(text, failed = false) {
    status.textContent = text;
    status.classList.toggle("failed", failed);
  }

  async function fetchJson(url, key) {
    let response;
    try {
      response = await fetch(url, {
        headers: { [HEADER]: key, Accept: "application/json" },
        credentials: "omit",
        cache: "no-store",
      });
    } catch {
      throw new Error("The gateway cannot be reached. Is it running?");
    }
    const body = await response.json().catch(() => null);
    if (!response.ok) {
      const error = body?.error;
      const parts = [error?.message ?? `The gateway answered ${response.status}.`];
      if (error?.help) parts.push(error.help);
      if (error?.request_id) parts.push(`request ${error.request_id}`);
      throw new Error(parts.join(" · "));
    }
    if (body === null) throw new Error("The gateway's answer cannot be read.");
    return body;
  }

  function offerServices(services, chosen) {
    const options = services.map(({ name, label }) => {
      const text = label && label !== name ? `${label} (${name})` : name;
      return new Option(text, name, false, name === chosen);
    });
    const all = services.length > MOST_TOGETHER ? [] : [new Option("All services", "")];
    serviceInput.replaceChildren(...all, ...options);
    serviceInput.disabled = false;
  }

  // Lays JSON out over lines and leaves every number and string as it was sent.
  function indented(json) {
    const tokens = json.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
    let depth = 0;
    let text = "";
    tokens.forEach((token, index) => {
      const line = `\n${"  ".repeat(depth)}`;
      if (token === "{" || token === "[") {
        depth += 1;
        const isEmpty = tokens[index + 1] === "}" || tokens[index + 1] === "]";
        text += isEmpty ? token : `${token}\n${"  ".repeat(depth)}`;
      } else if (token === "}" || token === "]") {
        depth -= 1;
        const isEmpty = tokens[index - 1] === "{" || tokens[index - 1] === "[";
        text += isEmpty ? token : `\n${"  ".repeat(depth)}${token}`;
      } else if (token === ",") {
        text += `,${line}`;
      } else {
        text += token === ":" ? ": " : token;
      }
    });
    return text;
  }

  // Swagger UI reads and writes JSON anew, which rounds long numbers. Where that would change an answer, it is shown as
  // it came.
  const exactNumbers = () => ({
    wrapComponents: {
      responseBody: (Original, { React }) => (props) => {
        if (typeof props.content === "string" && /json$/i.test((props.contentType ?? "").split(";")[0])) {
          try {
            const exact = indented(props.content);
            if (JSON.stringify(JSON.parse(props.content), null, 2) !== exact) {
              return React.createElement(Original, { ...props, content: exact, contentType: "text/plain" });
            }
          } catch {
            // Not JSON after all: shown as it came.
          }
        }
        return React.createElement(Original, props);
      },
    },
  });

  function show(documentation) {
    hint.hidden = true;
    view.replaceChildren();
    SwaggerUIBundle({
      spec: documentation,
      domNode: view,
      deepLinking: true,
      docExpansion: documentation.tags?.length > 3 ? "none" : "list",
      defaultModelsExpandDepth: 0,
      displayRequestDuration: true,
      filter: true,
      tryItOutEnabled: true,
      persistAuthorization: false,
      plugins: [exactNumbers],
      // The badge would send the document to a foreign server.
      validatorUrl: null,
      requestInterceptor: (request) => {
        if (key && new URL(request.url, document.baseURI).href.startsWith(`${API}/`)) {
          request.headers[HEADER] = key;
        }
        return request;
      },
    });
  }

  async function load(newKey, service) {
    const mine = ++turn;
    loadButton.disabled = true;
    say("Loading …");
    try {
      const list = await fetchJson(API, newKey);
      const services = list.services ?? [];
      const isKnown = services.some(({ name }) => name === service);
      // Of many services there is no document of them all.
      const usual = services.length > MOST_TOGETHER ? services[0].name : "";
      const known = isKnown ? service : usual;
      const path = known ? `/api_docs/${encodeURIComponent(known)}` : "/api_docs";
      const documentation = await fetchJson(API + path, newKey);
      if (mine !== turn) return;
      key = newKey;
      sessionStorage.setItem(STORED_KEY, newKey);
      sessionStorage.setItem(STORED_SERVICE, known);
      offerServices(services, known);
      forgetButton.hidden = false;
      show(documentation);
      const count = Object.values(documentation.paths ?? {}).reduce(
        (sum, methods) => sum + Object.keys(methods).length, 0);
      const revision = documentation["x-tidegate-revision"];
      say(`${count} operation${count === 1 ? "" : "s"} · revision ${revision}`);
    } catch (error) {
      if (mine === turn) say(error.message, true);
    } finally {
      if (mine === turn) loadButton.disabled = false;
    }
  }

  function forget() {
    turn += 1;
    key = "";
    sessionStorage.removeItem(STORED_KEY);
    sessionStorage.removeItem(STORED_SERVICE);
    keyInput.value = "";
    serviceInput.replaceChildren(new Option("All services", ""));
    serviceInput.disabled = true;
    loadButton.disabled = false;
    forgetButton.hidden = true;
    view.replaceChildren();
    hint.hidden = false;
    say("");
    keyInput.focus();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const entered = keyInput.value.trim();
    if (entered) load(entered, serviceInput.value);
  });
  serviceInput.addEventListener("change", () => {
    if (key) load(key, serviceInput.value);
  });
  forgetButton.addEventListener("click", forget);

  document.getElementById("origin").textContent = API.replace(/\/api\/v2$/, "");
  const stored = sessionStorage.getItem(STORED_KEY);
  if (stored) {
    keyInput.value = stored;
    load(stored, sessionStorage.getItem(STORED_SERVICE) ?? "");
  } else {
    keyInput.focus();
  }
})();
