#pragma once
// Result<T>: how functions report what may go wrong while running (a late device, a malformed
// frame, a bad file).  Broken invariants of ours use WDMOE_CHECK instead (check.h).

#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <tl/expected.hpp>

namespace wdmoe {

/// What kind of thing went wrong; `Error::text` says which thing, what was expected, what to do.
enum class Code {
  bad_input,    ///< a file, message or argument is not what its format demands
  not_found,    ///< a named thing does not exist
  unsupported,  ///< well-formed, but asks for what this build does not do
  limit,        ///< larger than a configured or built-in bound
  unavailable,  ///< a peer, device or resource is not there (now)
  timeout,      ///< a deadline passed
  denied,       ///< not allowed
  busy,         ///< a bounded queue or pool is full
  cancelled,    ///< the client went away
  io,           ///< the operating system refused
};

struct [[nodiscard]] Error {
  Code code = Code::bad_input;
  std::string text;  ///< one line
};

template <class T>
using Result = tl::expected<T, Error>;

/// `return fail(Code::not_found, "…");` from any function that returns a Result.
inline tl::unexpected<Error> fail(Code code, std::string text) {
  return tl::unexpected<Error>(Error{code, std::move(text)});
}

/// Puts `context: ` before an error's text, on its way up.
inline tl::unexpected<Error> fail(std::string_view context, Error error) {
  error.text = std::string(context) + ": " + error.text;
  return tl::unexpected<Error>(std::move(error));
}

/// At start-up: the value, or whatever is missing ends the program with its one-line reason.
template <class T>
T require(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().text);
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

std::string_view name_of(Code code);

}  // namespace wdmoe

/// Returns the error of a Result<…> expression to the caller, if it holds one.
#define WDMOE_TRY(expression)                                                 \
  do {                                                                        \
    if (auto wdmoe_result = (expression); !wdmoe_result)                      \
      return tl::unexpected<::wdmoe::Error>(std::move(wdmoe_result).error()); \
  } while (false)
