// The API as both pages use it: one function to call it, the session, and small helpers to build elements.
const session = {
  get tokens() { try { return JSON.parse(sessionStorage.getItem("tokens")); } catch { return null; } },
  set tokens(t) { t ? sessionStorage.setItem("tokens", JSON.stringify(t)) : sessionStorage.removeItem("tokens"); },
};

async function post(query, variables, token) {
  const response = await fetch("/graphql", {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/graphql-response+json", ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ query, variables }),
  });
  const body = await response.json().catch(() => ({ errors: [{ message: `The server answered ${response.status}.` }] }));
  return body;
}

let refreshing = null;
async function refresh() {
  const input = { refreshToken: session.tokens?.refreshToken ?? "" };
  const body = await post("mutation($input: RefreshTokensInput!) { refreshTokens(input: $input) { tokens { accessToken refreshToken expiresAt } } }", { input });
  session.tokens = body.data?.refreshTokens?.tokens ?? null;
}

// call sends one operation and returns its data, or throws what went wrong in words. An access token that is about to end is exchanged first.
export async function call(query, variables = {}) {
  if (session.tokens && Date.parse(session.tokens.expiresAt) - Date.now() < 30_000) {
    refreshing ??= refresh().finally(() => { refreshing = null; });
    await refreshing;
  }
  const body = await post(query, variables, session.tokens?.accessToken);
  if (body.errors?.length) throw new Error(body.errors[0].message);
  return body.data;
}

// retrying repeats a mutation with the same input and key while the answer is "later": it is safe, because the key makes it one.
export async function retrying(query, variables, field) {
  for (let attempt = 0; ; attempt++) {
    const payload = (await call(query, variables))[field];
    const later = payload.userErrors.find((e) => e.retryAfterMs !== undefined);
    if (!later || attempt === 5) return payload;
    await new Promise((r) => setTimeout(r, later.retryAfterMs));
  }
}

export const signedIn = () => session.tokens !== null;
export function signOut() {
  const input = { refreshToken: session.tokens?.refreshToken ?? "" };
  session.tokens = null;
  return post("mutation($input: LogOutInput!) { logOut(input: $input) { userErrors { message } } }", { input });
}

// el builds an element: el("p", {class: "quiet"}, "text", child).
export function el(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else if (value === true) e.setAttribute(name, "");
    else if (value !== false && value != null) e.setAttribute(name, value);
  }
  e.append(...children.filter((c) => c != null));
  return e;
}

export const $ = (selector) => document.querySelector(selector);
export const money = (m) => new Intl.NumberFormat(undefined, { style: "currency", currency: m.currency }).format(m.amount);
export const errors = "userErrors { code message field ... on RetryLater { retryAfterMs } }";

let toastTimer;
export function toast(message, bad = false) {
  const t = $("#toast");
  t.textContent = message;
  t.className = bad ? "show bad" : "show";
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { t.className = ""; }, 5000);
}

// signIn opens the dialog and resolves when somebody is signed in, or false when it was closed.
export function signIn() {
  const dialog = $("#sign-in"), form = dialog.querySelector("form"), problem = dialog.querySelector(".error");
  problem.textContent = "";
  dialog.showModal();
  return new Promise((resolve) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      const mutation = event.submitter?.value;
      if (!mutation) { dialog.close(); return resolve(false); }
      const type = mutation === "logIn" ? "LogInInput" : "RegisterUserInput";
      const input = { email: form.email.value, password: form.password.value };
      try {
        const data = await call(`mutation($input: ${type}!) { ${mutation}(input: $input) { tokens { accessToken refreshToken expiresAt } userErrors { message } } }`, { input });
        const payload = data[mutation];
        if (!payload.tokens) { problem.textContent = payload.userErrors[0]?.message ?? "That did not work."; return; }
        session.tokens = payload.tokens;
        form.reset();
        dialog.close();
        resolve(true);
      } catch (e) { problem.textContent = e.message; }
    };
    dialog.oncancel = () => resolve(false);
  });
}
