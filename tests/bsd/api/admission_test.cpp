#include "bsd/api/admission.h"

#include <doctest/doctest.h>

using namespace wdmoe::bsd::api;

TEST_CASE("admission: which requests need a key, and what the others hear") {
  const struct {
    const char* name;
    const char *method, *target, *key;
    unsigned status;  // 0: welcome
  } cases[] = {
      {"the right key", "POST", "/v1/completions", "right", 0},
      {"no key", "POST", "/v1/completions", "", 401},
      {"a wrong key", "POST", "/v1/completions", "wrong", 401},
      {"control", "PUT", "/wdmoe/v1/policy", "", 401},
      {"metrics", "GET", "/metrics", "", 401},
      {"what does not exist", "GET", "/secret", "", 401},
      {"health", "GET", "/healthz", "", 0},
      {"health with a query", "GET", "/healthz?x=1", "", 0},
      {"not quite health", "GET", "/healthz/..", "", 401},
      {"a preflight", "OPTIONS", "/v1/completions", "", 0},
  };
  Hooks hooks;
  hooks.authorised = [](std::string_view key) { return key == "right"; };
  for (const auto& c : cases) {
    SUBCASE(c.name) {
      HttpRequest request;
      request.method = c.method;
      request.target = c.target;
      request.api_key = c.key;
      const auto refused = refuse_stranger(request, hooks);
      CHECK((refused ? refused->status : 0) == c.status);
      CHECK_FALSE(refuse_stranger(request, Hooks()));  // no keys are set
    }
  }
}

TEST_CASE("admission: an empty key is never asked about") {
  Hooks hooks;
  hooks.authorised = [](std::string_view) { return true; };
  HttpRequest request;
  request.method = "GET";
  request.target = "/metrics";
  CHECK(refuse_stranger(request, hooks)->code.empty());
}
