// `wdmoe field record|report`: what a trial with real radios yields, in one file and on one page.

#include "cli/field.h"

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <stdlib.h>

#include "cli/field_record.h"
#include "cli/field_report.h"
#include "cli/gnuplot.h"
#include "common/process.h"
#include "weights/file.h"

namespace wdmoe::cli {
namespace {

constexpr std::uint64_t kMostDrawing = std::uint64_t{16} << 20;

struct ReportOptions {
  std::vector<std::string> runs;
  std::string out;
};

/// Gone with everything in it when destroyed.
class ScratchFolder {
 public:
  static Result<std::unique_ptr<ScratchFolder>> make() {
    std::string name = (std::filesystem::temp_directory_path() / "wdmoe-field-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr)
      return fail(Code::io, name + ": cannot be made a folder for the drawings; set TMPDIR");
    return std::unique_ptr<ScratchFolder>(new ScratchFolder(name));
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  explicit ScratchFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

Result<std::vector<std::string>> draw_all(Span<const FieldFigure> figures) {
  const auto folder = ScratchFolder::make();
  if (!folder) return tl::unexpected<Error>(folder.error());
  std::vector<std::string> drawings;
  for (const FieldFigure& figure : figures) {
    std::string& drawing = drawings.emplace_back();
    if (figure.commands.empty()) continue;
    WDMOE_TRY(draw(figure.name, figure.commands, (*folder)->path()));
    auto svg = weights::read_text((*folder)->path() / (figure.name + ".svg"), kMostDrawing);
    if (!svg) return tl::unexpected<Error>(svg.error());
    drawing = std::move(*svg);
  }
  return drawings;
}

Result<int> report_field(const ReportOptions& options) {
  if (!find_program("gnuplot"))
    return fail(Code::not_found,
                "gnuplot, which draws the figures, is not installed: install gnuplot-nox");
  std::vector<FieldRun> runs;
  for (const std::string& file : options.runs) {
    auto run = read_field(file);
    if (!run) return tl::unexpected<Error>(run.error());
    runs.push_back(std::move(*run));
  }
  const std::vector<FieldFigure> figures = figures_of(runs);
  const auto drawings = draw_all(figures);
  if (!drawings) return tl::unexpected<Error>(drawings.error());
  WDMOE_TRY(weights::write_text(options.out, page_of(runs, figures, *drawings)));
  std::fputs((options.out + "\n").c_str(), stdout);
  return 0;
}

void add_record(CommandGroup& commands) {
  auto options = std::make_shared<FieldRecordOptions>();
  auto every_ms = std::make_shared<unsigned>(500);
  CLI::App& command = commands.add(
      "record", "Record a running base station: links, shares, loads, latencies, notes",
      [options, every_ms] {
        options->every = std::chrono::milliseconds(*every_ms);
        return record_field(*options);
      });
  options->bsd.add_to(command, "base station");
  command.add_option("--out", options->out, "file to make")->required();
  command.add_option("--label", options->labels,
                     "what the trial is, where, with what (place=yard, GPS …); several times");
  command.add_option("--config", options->config, "the base station's bsd.toml, to be kept along");
  command.add_option("--every-ms", *every_ms, "time between two samples")
      ->check(CLI::Range(100u, 60'000u))
      ->capture_default_str();
  command.add_option("--seconds", options->seconds, "end after so many seconds")
      ->check(CLI::Range(1u, 86'400u));
  command.add_option("--most-mib", options->most_mib, "end when the file is so large")
      ->check(CLI::Range(1u, 512u))
      ->capture_default_str();
  command.add_flag("--force", options->force, "replace FILE");
  command.footer(
      "A line typed while it records becomes a note with its time.\n"
      "example: wdmoe field record --out yard.jsonl --label place=yard --seconds 600");
}

void add_report(CommandGroup& commands) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App& command = commands.add("report", "One or two recordings on an HTML page, side by side",
                                   [options] { return report_field(*options); });
  command.add_option("FILE", options->runs, "one recording, or two to compare")
      ->required()
      ->expected(1, 2);
  command.add_option("--out", options->out, "HTML page to make")->required();
  command.footer("example: wdmoe field report plain.jsonl joint.jsonl --out trial.html");
}

}  // namespace

void add_field(Commands& commands) {
  CommandGroup own(commands, "field", "Record a trial with real radios, and look at recordings");
  add_record(own);
  add_report(own);
}

}  // namespace wdmoe::cli
