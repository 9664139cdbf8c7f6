// Shows the document of this process, and asks nobody else for anything.
window.ui = SwaggerUIBundle({
  dom_id: "#page",
  url: "api/openapi.json",
  presets: [SwaggerUIBundle.presets.apis],
  docExpansion: "list",
  displayRequestDuration: true,
  validatorUrl: null,
});
