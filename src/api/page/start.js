// Shows the document of this process, and asks nobody else for anything.
window.ui = SwaggerUIBundle({
  dom_id: "#page",
  // Beside this page, without a name and a password that stood in its address: a browser refuses those.
  url: new URL("api/openapi.json", location.origin + location.pathname).href,
  presets: [SwaggerUIBundle.presets.apis],
  docExpansion: "list",
  displayRequestDuration: true,
  validatorUrl: null,
});
