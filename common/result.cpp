#include "common/result.h"

namespace wdmoe {

std::string_view name_of(Code code) {
  switch (code) {
    case Code::bad_input:
      return "bad_input";
    case Code::not_found:
      return "not_found";
    case Code::unsupported:
      return "unsupported";
    case Code::limit:
      return "limit";
    case Code::unavailable:
      return "unavailable";
    case Code::timeout:
      return "timeout";
    case Code::denied:
      return "denied";
    case Code::busy:
      return "busy";
    case Code::cancelled:
      return "cancelled";
    case Code::io:
      return "io";
  }
  return "unknown";
}

}  // namespace wdmoe
