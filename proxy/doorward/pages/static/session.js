// Warns before the session ends; docs/guides/safer-applications.md has the attributes. Its own file,
// because applications include it. The server fills in SOON and OVER and leaves out indentation and
// comments, so that it stays below 1 KiB.
(() => {
  const own = document.currentScript.dataset, before = +own.before || 120;
  const box = document.createElement("a");
  box.id = "doorward-session";
  box.target = "_blank";
  box.role = "alert";
  box.style = "position:fixed;bottom:1em;right:1em;padding:1em;z-index:99;background:#fff3cd;color:#332701";
  let timer;
  const look = async () => {
    clearTimeout(timer);
    let next = 60;
    const got = await fetch("/.doorward/session").catch(() => 0), over = got.status == 401;
    if (over || got.ok) {
      const left = over ? 0 : +got.headers.get("X-Doorward-Session-Expires-In");
      box.textContent = over ? own.over || OVER : own.soon || SOON;
      if (over) box.href = "/.doorward/login";
      else box.removeAttribute("href"), next = Math.min(left > before ? left - before : left + 1, 300);
      left > before ? box.remove() : document.body.append(box);
    }
    timer = setTimeout(look, next * 1e3);
  };
  addEventListener("visibilitychange", look);
  look();
})();
