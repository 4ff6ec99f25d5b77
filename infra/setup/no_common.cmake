# Read by CMake inside llama.cpp's own project(): its tools need `common`, the Python bindings don't, and it is half of
# the compile time. A plain -DLLAMA_BUILD_COMMON=OFF has no effect, because llama-cpp-python's CMakeLists forces it on.
set(LLAMA_BUILD_COMMON OFF)
