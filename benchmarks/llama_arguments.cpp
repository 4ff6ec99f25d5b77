// Stands in for llama.cpp's common/arg.cpp when benchmarks/llama_tools.py builds llama.cpp's tools: what they compute stays
// llama.cpp's own source, only the reading of their options is this. arg.cpp alone would pull in chat templates and HTTP.

#include "arg.h"
#include "build-info.h"
#include "common.h"
#include "speculative.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

static ggml_type cache_type(const std::string & name) {
    return name == "f32" ? GGML_TYPE_F32 : GGML_TYPE_F16;
}

bool common_params_parse(int argc, char ** argv, common_params & params, llama_example, void (*)(int, char **)) {
    for (int i = 1; i < argc; ++i) {
        const std::string option = argv[i];
        if (option == "--kl-divergence") {
            params.kl_divergence = true;
            continue;
        }
        if (i + 1 == argc) {
            fprintf(stderr, "no value for %s\n", option.c_str());
            return false;
        }
        const std::string value = argv[++i];
        if (option == "-m") {
            params.model.path = value;
        } else if (option == "-f") {
            std::ifstream file(value, std::ios::binary);
            std::stringstream text;
            text << file.rdbuf();
            params.prompt = text.str();
            params.prompt_file = value;
        } else if (option == "-o") {
            params.out_file = value;
        } else if (option == "-c") {
            params.n_ctx = std::stoi(value);
        } else if (option == "-b") {
            params.n_batch = params.n_ubatch = std::stoi(value);
        } else if (option == "--chunks") {
            params.n_chunks = std::stoi(value);
        } else if (option == "-t") {
            params.cpuparams.n_threads = params.cpuparams_batch.n_threads = std::stoi(value);
        } else if (option == "-ct") {
            params.cache_type_k = params.cache_type_v = cache_type(value);
            // as quantplay does: flash attention on a CPU would round a float32 cache to float16
            params.flash_attn_type = value == "f32" ? LLAMA_FLASH_ATTN_TYPE_DISABLED : LLAMA_FLASH_ATTN_TYPE_AUTO;
        } else if (option == "--kl-divergence-base") {
            params.logits_file = value;
        } else {
            fprintf(stderr, "unknown option %s\n", option.c_str());
            return false;
        }
    }
    params.fit_params = false;  // fits a model to a GPU's memory; there is none
    params.warmup     = false;
    return true;
}

// Referred to by common.cpp, never reached: no draft model is asked for.
common_params common_base_params_to_speculative(const common_params & params) {
    (void) params;
    abort();
}

// The build's number and compiler, which the tools print; the version of the libraries is what counts.
void llama_print_build_info(const char * version, FILE * stream) { fprintf(stream, "llama.cpp %s\n", version); }
int          llama_build_number(void) { return 0; }
const char * llama_commit(void)       { return ""; }
const char * llama_compiler(void)     { return ""; }
const char * llama_build_target(void) { return ""; }
const char * llama_build_info(void)   { return ""; }
