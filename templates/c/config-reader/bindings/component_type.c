// The generated code wants an object file linked that says what the module is for; `sandhog componentize --world` says it.

void __component_type_object_force_link_config_reader(void);
void __component_type_object_force_link_config_reader(void) {}
