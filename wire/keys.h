#pragma once
// CURVE keys and the list of agents that may connect.  Key files are text: one line of 40 Z85
// characters; lines that begin with "# " are comments.
//   NAME.key   the secret key, mode 0600
//   NAME.pub   the public key, to be copied to the other side
// A base station's list of agents is a directory of NAME.pub files; NAME is the agent's identity:
// who holds that key is that agent and no other.

#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "common/result.h"

namespace wdmoe::wire {

constexpr std::size_t kKeyText = 40;  ///< Z85 characters of a key

/// A public key, as Z85.
using PublicKey = std::string;

/// A secret key: never printed, never compared, wiped when destroyed.
class Secret {
 public:
  static Result<Secret> from_text(std::string_view z85);
  ~Secret();
  Secret(const Secret&) = default;
  Secret& operator=(const Secret&) = default;

  const char* reveal() const { return text_.data(); }  ///< Z85, zero-terminated

 private:
  Secret() = default;
  std::array<char, kKeyText + 1> text_{};
};

struct KeyPair {
  PublicKey public_key;
  Secret secret;
};

Result<PublicKey> public_key_from_text(std::string_view z85);

/// A fresh pair from the system's random source.  unsupported if libzmq lacks CURVE.
Result<KeyPair> make_keys();

/// The public half of a secret key.
Result<PublicKey> public_key_of(const Secret& secret);

/// Writes DIRECTORY/NAME.key (0600) and NAME.pub (0644), each whole or not at all.  Refuses
/// (denied) to replace an existing key unless `force`.  What `wdmoe keygen` does.
Result<KeyPair> write_keys(const std::filesystem::path& directory, const std::string& name,
                           bool force);

/// Errors: not_found, bad_input, denied (readable by others; says chmod 600).
Result<Secret> read_secret(const std::filesystem::path& file);
Result<PublicKey> read_public(const std::filesystem::path& file);

/// Agent names by public key.
using AllowList = std::map<PublicKey, std::string>;

/// Every NAME.pub of a directory.  Errors: two names with one key, a name that is_agent_name()
/// refuses, more than 1024 files, an unreadable file; an empty directory is an empty list.
Result<AllowList> read_allow_list(const std::filesystem::path& directory);

struct ServerKeys {
  Secret secret;
  AllowList agents;
};

struct ClientKeys {
  KeyPair own;
  PublicKey server;
};

bool is_ipc(std::string_view endpoint);  ///< ipc:// or inproc://: never leaves the machine

/// What a base station listening on `endpoint` needs.  Nothing when `insecure`, or on ipc://
/// without a secret key file; everything else must have keys.
Result<std::optional<ServerKeys>> server_keys(std::string_view endpoint, bool insecure,
                                              const std::filesystem::path& secret_file,
                                              const std::filesystem::path& agents_directory);

/// The same for an agent that connects to `endpoint`.
Result<std::optional<ClientKeys>> client_keys(std::string_view endpoint, bool insecure,
                                              const std::filesystem::path& secret_file,
                                              const std::filesystem::path& server_public_file);

}  // namespace wdmoe::wire
