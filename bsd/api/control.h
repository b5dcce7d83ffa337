#pragma once
// The control API's routes: how a running system is looked at and changed.  Pure but for the hooks.

#include "bsd/api/http.h"
#include "bsd/api/routes.h"

namespace wdmoe::bsd::api {

/// {"policy", "quality", "beta", "layer_budgets", "policies": [{"name", "help"}]}; quality and beta
/// are null where the policy's own default holds.
HttpResponse policy(const HttpRequest& request, const RouteContext& context);

/// {"policy": NAME, "quality": 0…1, "beta": 0…1}; what is absent becomes the policy's own default.
/// Answers as policy() does.
HttpResponse put_policy(const HttpRequest& request, const RouteContext& context);

/// {"recording", "name", "path", "tokens", "records", "bytes", "error"}; name, path and error are
/// null where there is none.
HttpResponse trace(const HttpRequest& request, const RouteContext& context);

/// {"name": FILE, "tokens": 1…, "seconds": 1…}: begins a recording below the station's directory.
HttpResponse put_trace(const HttpRequest& request, const RouteContext& context);

/// Finishes the recording that runs.
HttpResponse delete_trace(const HttpRequest& request, const RouteContext& context);

/// What the controller of the radio does; {"state": "off"} where there is none.
HttpResponse radio(const HttpRequest& request, const RouteContext& context);

/// {"frozen": true or false}: what is in force stays, or follows the links again.  Answers as
/// radio() does; 409 where there is no controller.
HttpResponse put_radio(const HttpRequest& request, const RouteContext& context);

}  // namespace wdmoe::bsd::api
